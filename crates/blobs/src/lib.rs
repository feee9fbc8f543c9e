//! Content-addressed bytes on disk or in an object store
