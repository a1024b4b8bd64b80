//! Pages by key: `first` items after a place, never an offset.

use async_graphql::{
    ObjectType, OutputType,
    connection::{Connection, Edge, EmptyFields},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::failure::Failure;

/// Items of one page at most.
const MAX_PAGE: i32 = 100;
/// Items of a page when the client does not say; also in the schema, as the default of every `first`.
const DEFAULT_PAGE: i32 = 20;

/// A page of `Node`s with opaque cursors, and further fields.
pub(crate) type Page<Node, Fields = EmptyFields> = Connection<String, Node, Fields>;

/// What a page costs: its items, each with what is asked of it.
pub(crate) fn cost(first: Option<i32>, child: usize) -> usize {
    // A `first` outside of the range is refused when the page is made; here it only must not overflow.
    usize::try_from(first.unwrap_or(DEFAULT_PAGE).clamp(1, MAX_PAGE))
        .unwrap_or(1)
        .saturating_mul(child.max(1))
}

/// The size of a page.
pub(crate) fn size(first: Option<i32>) -> Result<i64, Failure> {
    let first = first.unwrap_or(DEFAULT_PAGE);
    if (1..=MAX_PAGE).contains(&first) {
        Ok(i64::from(first))
    } else {
        Err(Failure::BadInput(format!(
            "`first` must be between 1 and {MAX_PAGE}, not {first}."
        )))
    }
}

/// A cursor for a place.
pub(crate) fn cursor(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

/// The place of a cursor, as `read` understands it.
pub(crate) fn place<T>(after: Option<&str>, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Failure> {
    let Some(cursor) = after else { return Ok(None) };
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok();
    let place = bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|text| !text.contains('\0'))
        .and_then(|text| read(&text));
    match place {
        Some(place) => Ok(Some(place)),
        None => Err(Failure::BadInput(
            "`after` is not a cursor of this list. Use `pageInfo.endCursor` of the page before.".to_owned(),
        )),
    }
}

/// A page of at most `size` of the items; one more than that says that there is a next page.
pub(crate) fn page<Item, Node: OutputType>(
    items: Vec<Item>,
    size: i64,
    begins: bool,
    edge: impl Fn(Item) -> (String, Node),
) -> Page<Node> {
    page_with(EmptyFields, items, size, begins, edge)
}

/// The same with further fields.
pub(crate) fn page_with<Fields: ObjectType, Item, Node: OutputType>(
    fields: Fields,
    items: Vec<Item>,
    size: i64,
    begins: bool,
    edge: impl Fn(Item) -> (String, Node),
) -> Page<Node, Fields> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let mut page = Connection::with_additional_fields(!begins, items.len() > size, fields);
    page.edges = items
        .into_iter()
        .take(size)
        .map(|item| {
            let (place, node) = edge(item);
            Edge::new(cursor(&place), node)
        })
        .collect();
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_between_one_and_a_hundred_items() {
        assert!(size(Some(0)).is_err());
        assert!(size(Some(101)).is_err());
        assert_eq!(size(Some(100)).ok(), Some(100));
        assert_eq!(cost(Some(i32::MAX), 3), 300);
        assert_eq!(cost(Some(-5), 3), 3);
        assert_eq!(cost(None, 3), 60);
    }

    #[test]
    fn only_our_cursors_lead_to_a_place() {
        let digits = |text: &str| text.parse::<u32>().ok();
        assert_eq!(place(Some(&cursor("17")), digits).ok(), Some(Some(17)));
        assert_eq!(place(None, digits).ok(), Some(None));
        assert!(place(Some("17"), digits).is_err());
    }
}
