"""The built-in kart game: environment, physics, renderer, tracks."""
