//! The event log: giving out positions, reading once, feeding every stream
