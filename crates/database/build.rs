//! Has the crate compiled again when a migration, or what is known of a query, changes: the macros read both from
//! outside the crate, where cargo does not look by itself.

fn main() {
    println!("cargo::rerun-if-changed=../../migrations");
    println!("cargo::rerun-if-changed=../../.sqlx");
}
