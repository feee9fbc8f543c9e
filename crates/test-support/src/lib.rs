//! Test databases, the test app and stand-ins for the outside world
