//! A page costs the page, what is delivered costs what is to be delivered, and what is somebody's own costs what they have:
//! counted in rows that PostgreSQL fetches and in blocks that it looks at, beside much else that is of no concern, with
//! statistics that say that nearly all rows are of that kind.

#![allow(clippy::unwrap_used, reason = "tests stop at the first surprise")]

mod counted;
mod deliveries;
mod history;
mod issues;
mod own;
