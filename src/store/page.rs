//! Pages of lists.

use super::PageRequest;

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T> {
    /// The number of entries on all pages.
    pub count: u64,
    /// The number of this page.
    pub number: u64,
    /// The number of pages, at least one.
    pub pages: u64,
    /// The entries on it.
    pub items: Vec<T>,
}

/// Where a page begins and ends in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageBounds {
    /// The number of the page.
    pub number: u64,
    /// The number of pages, at least one.
    pub pages: u64,
    /// The number of entries before it.
    pub offset: u64,
    /// The most entries on it.
    pub size: u64,
}

impl PageBounds {
    /// The bounds of a page in a list of `count` entries. `None` when there is no such page.
    pub fn of(count: u64, page: PageRequest, page_size: u32) -> Option<Self> {
        let size = u64::from(page_size.max(1));
        let pages = count.div_ceil(size).max(1);
        let number = match page {
            PageRequest::Number(number) => number,
            PageRequest::Last => pages,
        };
        (1..=pages).contains(&number).then(|| Self {
            number,
            pages,
            offset: (number - 1) * size,
            size,
        })
    }

    /// The page with these bounds in a list of `count` entries.
    pub fn page<T>(self, count: u64, items: Vec<T>) -> Page<T> {
        Page {
            count,
            number: self.number,
            pages: self.pages,
            items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_the_list() {
        let bounds = |count, page| {
            PageBounds::of(count, page, 20).map(|page| (page.number, page.pages, page.offset))
        };
        assert_eq!(bounds(0, PageRequest::Number(1)), Some((1, 1, 0)));
        assert_eq!(bounds(0, PageRequest::Last), Some((1, 1, 0)));
        assert_eq!(bounds(41, PageRequest::Last), Some((3, 3, 40)));
        assert_eq!(bounds(40, PageRequest::Number(2)), Some((2, 2, 20)));
        assert_eq!(bounds(40, PageRequest::Number(3)), None);
        assert_eq!(bounds(40, PageRequest::Number(0)), None);
        assert_eq!(bounds(40, PageRequest::Number(u64::MAX)), None);
    }
}
