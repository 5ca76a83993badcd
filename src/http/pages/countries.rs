//! Names of countries in the languages of the pages (Unicode CLDR).

/// One line a country: code, then its names in the order of [`TAGS`].
static TABLE: &str = include_str!("countries.txt");

/// The languages of the table.
const TAGS: [&str; 6] = ["de", "en", "es", "fr", "it", "pt-BR"];

/// Codes and names, by name as a reader of the language expects them. A language that the table
/// lacks gets English names.
pub(super) fn in_language(tag: &str) -> Vec<(&'static str, &'static str)> {
    let english = 1;
    let column = TAGS
        .iter()
        .position(|known| *known == tag)
        .unwrap_or(english);
    let mut countries: Vec<(&str, &str)> = TABLE
        .lines()
        .filter_map(|line| {
            let (code, names) = line.split_once('|')?;
            Some((code, names.split('|').nth(column)?))
        })
        .collect();
    countries.sort_by_cached_key(|(_, name)| sort_key(name));
    countries
}

/// Accented letters sort with their base letters.
fn sort_key(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            'À' | 'Á' | 'Â' | 'Ã' | 'Ä' | 'Å' => 'A',
            'Ç' => 'C',
            'È' | 'É' | 'Ê' | 'Ë' => 'E',
            'Ì' | 'Í' | 'Î' | 'Ï' => 'I',
            'Ñ' => 'N',
            'Ò' | 'Ó' | 'Ô' | 'Õ' | 'Ö' => 'O',
            'Ù' | 'Ú' | 'Û' | 'Ü' => 'U',
            'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' => 'a',
            'ç' => 'c',
            'è' | 'é' | 'ê' | 'ë' => 'e',
            'ì' | 'í' | 'î' | 'ï' => 'i',
            'ñ' => 'n',
            'ò' | 'ó' | 'ô' | 'õ' | 'ö' => 'o',
            'ù' | 'ú' | 'û' | 'ü' => 'u',
            other => other,
        })
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Country;

    #[test]
    fn every_country_has_a_name_in_every_language() {
        for tag in TAGS {
            let countries = in_language(tag);
            assert_eq!(countries.len(), 249, "{tag}");
            for (code, name) in &countries {
                assert!(Country::parse(code).is_some(), "{code}");
                assert!(!name.is_empty(), "{code} in {tag}");
            }
        }
        let german = in_language("de");
        let place = |code| german.iter().position(|(known, _)| *known == code).unwrap();
        assert!(place("AT") < place("PL"), "Österreich is sorted under O");
        assert_eq!(in_language("nl"), in_language("en"));
    }
}
