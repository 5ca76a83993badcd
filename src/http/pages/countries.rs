//! Names of countries in the languages of the pages (Unicode CLDR).

use std::sync::LazyLock;

use crate::domain::folded;

/// One line a country: code, then its names in the order of [`TAGS`].
static TABLE: &str = include_str!("countries.txt");

/// The languages of the table.
const TAGS: [&str; 6] = ["de", "en", "es", "fr", "it", "pt-BR"];

/// Codes and names by language, in the order of [`TAGS`].
static BY_LANGUAGE: LazyLock<[Vec<Country>; TAGS.len()]> =
    LazyLock::new(|| std::array::from_fn(names));

/// The code of a country and its name.
type Country = (&'static str, &'static str);

/// Codes and names, by name as a reader of the language expects them. A language that the table
/// lacks gets English names.
pub(super) fn in_language(tag: &str) -> &'static [Country] {
    let english = 1;
    let column = TAGS.iter().position(|known| *known == tag);
    &BY_LANGUAGE[column.unwrap_or(english)]
}

fn names(column: usize) -> Vec<Country> {
    let mut countries: Vec<Country> = TABLE
        .lines()
        .filter_map(|line| {
            let (code, names) = line.split_once('|')?;
            Some((code, names.split('|').nth(column)?))
        })
        .collect();
    // Accented letters sort with their base letters.
    countries.sort_by_cached_key(|(_, name)| folded(name).into_owned());
    countries
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain;

    #[test]
    fn every_country_has_a_name_in_every_language() {
        for tag in TAGS {
            let countries = in_language(tag);
            assert_eq!(countries.len(), 249, "{tag}");
            for (code, name) in countries {
                assert!(domain::Country::parse(code).is_some(), "{code}");
                assert!(!name.is_empty(), "{code} in {tag}");
            }
        }
        let german = in_language("de");
        let place = |code| german.iter().position(|(known, _)| *known == code).unwrap();
        assert!(place("AT") < place("PL"), "Österreich is sorted under O");
        assert_eq!(in_language("nl"), in_language("en"));
    }
}
