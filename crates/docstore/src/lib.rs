//! The DocStore server
