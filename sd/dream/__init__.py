"""The world model: its networks, training, playing and evaluation. A package imports only from packages above it in
this list: common; models; data; training, inference, play; evaluation, window."""

from dream.common.offline import disable_telemetry
from dream.common.startup import report_startup_errors

report_startup_errors(min_python=(3, 10))
disable_telemetry()
