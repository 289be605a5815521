"""The world model as a web page: its graphs, the folder that a static host serves, a local server."""
