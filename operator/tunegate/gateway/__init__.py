"""The only way into a serving pod: authentication, routes, probes, metrics. vLLM itself listens on a Unix socket."""
