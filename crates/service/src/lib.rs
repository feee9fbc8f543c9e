//! What every service shares: the server loop, limits, logs, metrics, traces and shutdown
