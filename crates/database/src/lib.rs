//! The pool, the migrations and every query
