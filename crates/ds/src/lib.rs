//! The DocStore command line
