//! Pagination. A query reads one entry more than the page has, which shows whether there is a next page.

use super::error::ApiError;

/// The default number of entries in a page.
const DEFAULT_LIMIT: i64 = 100;
const MAX_LIMIT: i64 = 1000;

/// The maximum number of entries in a page, from one to [`MAX_LIMIT`].
#[derive(Clone, Copy, Debug)]
pub struct PageLimit(i64);

impl PageLimit {
    /// Parses the query's `limit`.
    pub fn parse(limit: Option<i64>) -> Result<Self, ApiError> {
        match limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok(Self(limit)),
            limit => Err(ApiError::BadRequest(format!(
                "limit is {limit}; write one from 1 to {MAX_LIMIT}"
            ))),
        }
    }

    /// The number of entries to read: one more than the page has.
    pub const fn to_read(self) -> i64 {
        self.0 + 1
    }

    /// Cuts the entries that were read to a page, and returns the cursor of the next page: the key of the last entry. None
    /// on the last page.
    pub fn cut<T, K>(self, entries: &mut Vec<T>, id: impl Fn(&T) -> K) -> Option<K> {
        let limit = usize::try_from(self.0).unwrap_or(usize::MAX);
        let is_last = entries.len() <= limit;
        entries.truncate(limit);
        entries.last().filter(|_| !is_last).map(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_from_one_to_a_thousand() {
        for (limit, reads) in [(None, 101), (Some(1), 2), (Some(1000), 1001)] {
            assert_eq!(PageLimit::parse(limit).expect("legal").to_read(), reads);
        }
        for limit in [i64::MIN, -1, 0, 1001, i64::MAX] {
            let refused = PageLimit::parse(Some(limit)).expect_err("out of range").to_string();
            assert_eq!(refused, format!("limit is {limit}; write one from 1 to 1000"));
        }
    }

    #[test]
    fn a_page_has_a_cursor_if_there_is_a_next_page() {
        let page = |mut entries: Vec<i64>| {
            let next = PageLimit(2).cut(&mut entries, |entry| *entry);
            (entries, next)
        };
        assert_eq!(page(vec![]), (vec![], None));
        assert_eq!(page(vec![4, 5]), (vec![4, 5], None));
        assert_eq!(page(vec![4, 5, 6]), (vec![4, 5], Some(5)));
    }
}
