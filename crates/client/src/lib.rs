//! A typed client of the DocStore API
