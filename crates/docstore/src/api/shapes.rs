//! Answers that have more than one shape.

use docstore_models::{Branch, DirectoryEntry, FileContent, FileHistoryEntry, TreeEntry};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Ref, RefOr, Schema,
        schema::{AnyOfBuilder, ArrayBuilder, ObjectBuilder},
    },
};

fn reference(name: &str) -> RefOr<Schema> {
    Ref::from_schema_name(name).into()
}

fn list_of(items: RefOr<Schema>) -> RefOr<Schema> {
    RefOr::T(Schema::Array(ArrayBuilder::new().items(items).build()))
}

/// The object in which the Go SDK expects a list (contract, server §10.2).
fn inside(key: &str, list: RefOr<Schema>) -> RefOr<Schema> {
    RefOr::T(Schema::Object(ObjectBuilder::new().property(key, list).required(key).build()))
}

fn any_of(description: &str, shapes: impl IntoIterator<Item = RefOr<Schema>>) -> RefOr<Schema> {
    let any = shapes.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item);
    RefOr::T(Schema::AnyOf(any.description(Some(description)).build()))
}

macro_rules! shapes {
    ($($(#[$doc:meta])* $name:ident = $schema:expr, of $($part:ty),*;)*) => {
        $(
            $(#[$doc])*
            pub(crate) struct $name;

            impl PartialSchema for $name {
                fn schema() -> RefOr<Schema> {
                    $schema
                }
            }

            impl ToSchema for $name {
                fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                    $(
                        schemas.push((<$part as ToSchema>::name().into_owned(), <$part as PartialSchema>::schema()));
                        <$part as ToSchema>::schemas(schemas);
                    )*
                }
            }
        )*
    };
}

shapes! {
    /// What `GET tree` answers.
    TreeAnswer = any_of(
        "A bare list of files; with `dir` of files and directories; for a `User-Agent` that begins with \
         `docstore-go-sdk/` the list inside an object.",
        [
            list_of(reference("TreeEntry")),
            list_of(reference("DirectoryEntry")),
            inside("entries", list_of(reference("TreeEntry"))),
        ],
    ), of TreeEntry, DirectoryEntry;
    /// What `GET file/{path}/history` answers.
    FileHistoryAnswer = any_of(
        "A bare list; for a `User-Agent` that begins with `docstore-go-sdk/` the list inside an object; or the file \
         `{path}/history`, when there never was a file `{path}`.",
        [
            list_of(reference("FileHistoryEntry")),
            inside("entries", list_of(reference("FileHistoryEntry"))),
            reference("FileContent"),
        ],
    ), of FileHistoryEntry, FileContent;
    /// What `GET branches` answers.
    BranchesAnswer = any_of(
        "A bare list; for a `User-Agent` that begins with `docstore-go-sdk/` the list inside an object.",
        [list_of(reference("Branch")), inside("branches", list_of(reference("Branch")))],
    ), of Branch;
}
