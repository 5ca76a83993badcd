//! Chooses a language from an `Accept-Language`.

/// Most languages of an `Accept-Language` that are considered.
const MAX_RANGES: usize = 32;

/// The language ranges of an `Accept-Language` (RFC 9110, section 12.5.4), the most preferred one first.
///
/// Refused ones (`q=0`) and the wildcard are left out. Names of locales (`de_DE`, `de_DE.UTF-8`), which some
/// HTTP clients send, are ranges too.
pub(super) fn preferred(accept_language: &str) -> Vec<&str> {
    let mut ranges: Vec<(u16, &str)> = accept_language
        .split(',')
        .take(MAX_RANGES)
        .filter_map(|item| {
            let mut parameters = item.split(';').map(str::trim);
            let locale = parameters.next()?;
            let range = locale
                .split(['.', '@'])
                .next()
                .filter(|range| is_range(range))?;
            let weight = match parameters.find_map(|parameter| parameter.strip_prefix("q=")) {
                Some(weight) => thousandths(weight)?,
                None => 1_000,
            };
            (weight > 0).then_some((weight, range))
        })
        .collect();
    // Stable: of equal weights the first one wins.
    ranges.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    ranges.into_iter().map(|(_, range)| range).collect()
}

/// Finds the best of the `tags` for a language range.
///
/// It is the longest prefix of the range (lookup, RFC 4647, section 3.4), else any variety of the same
/// language.
pub(super) fn look_up<'a>(
    range: &str,
    tags: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let mut wanted = range;
    loop {
        if let Some(tag) = tags.clone().find(|tag| is_same(tag, wanted)) {
            return Some(tag);
        }
        let Some((shorter, _)) = wanted.rsplit_once(SEPARATORS) else {
            break;
        };
        // A single letter only introduces the next subtag and is removed with it.
        wanted = match shorter.rsplit_once(SEPARATORS) {
            Some((shortest, last)) if last.len() == 1 => shortest,
            _ => shorter,
        };
    }
    let mut tags = tags;
    tags.find(|tag| language_of(tag).eq_ignore_ascii_case(wanted))
}

fn language_of(tag: &str) -> &str {
    tag.split('-').next().unwrap_or(tag)
}

/// Between subtags; locales have the second one.
const SEPARATORS: [char; 2] = ['-', '_'];

fn is_same(tag: &str, range: &str) -> bool {
    tag.len() == range.len()
        && tag
            .split('-')
            .zip(range.split(SEPARATORS))
            .all(|(a, b)| a.eq_ignore_ascii_case(b))
}

/// Whether a text has the form of a language tag (RFC 5646, simplified).
pub(super) fn is_tag(text: &str) -> bool {
    is_range(text) && !text.contains('_')
}

fn is_range(text: &str) -> bool {
    let mut subtags = text.split(SEPARATORS);
    let is_language = |subtag: &str| {
        (2..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphabetic())
    };
    subtags.next().is_some_and(is_language)
        && subtags.all(|subtag| {
            (1..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

/// Parses a weight from 0 to 1 into thousandths.
fn thousandths(weight: &str) -> Option<u16> {
    let (whole, fraction) = weight.split_once('.').unwrap_or((weight, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    match whole {
        "0" => format!("{fraction:0<3}").parse().ok(),
        "1" if fraction.bytes().all(|b| b == b'0') => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_sorted_by_weight_and_then_order() {
        for (header, ranges) in [
            ("", &[][..]),
            ("de", &["de"]),
            ("de-AT, de;q=0.9, en;q=0.8", &["de-AT", "de", "en"]),
            ("en;q=0.2,fr;q=0.35 , it ;q=1.000", &["it", "fr", "en"]),
            ("da, *;q=0.5, es;q=0", &["da"]),
            ("a, 12, x_y, de;q=2, de;q=0.1234, pt;q=abc, fr", &["fr"]),
            (
                "de_DE, en_US.UTF-8;q=0.5, it@euro;q=0.4, C",
                &["de_DE", "en_US", "it"],
            ),
            ("zh-Hant-TW;q=0.5, \u{fc}", &["zh-Hant-TW"]),
        ] {
            assert_eq!(preferred(header), ranges, "{header}");
        }
        assert_eq!(preferred(&"de,".repeat(100_000)).len(), MAX_RANGES);
    }

    #[test]
    fn nearest_language_is_found() {
        let tags = ["de", "en", "pt-BR", "zh-Hant"];
        for (range, tag) in [
            ("de", Some("de")),
            ("DE-at", Some("de")),
            ("de-Latn-x-old", Some("de")),
            ("pt-br", Some("pt-BR")),
            ("de_DE", Some("de")),
            ("PT_br", Some("pt-BR")),
            ("zh_Hant_TW", Some("zh-Hant")),
            ("zh-Hant_HK", Some("zh-Hant")),
            ("pt", Some("pt-BR")),
            ("pt-PT", Some("pt-BR")),
            ("zh-Hant-TW", Some("zh-Hant")),
            ("ja", None),
            ("den", None),
        ] {
            assert_eq!(look_up(range, tags.into_iter()), tag, "{range}");
        }
        let both = ["pt", "pt-BR"];
        assert_eq!(look_up("pt-PT", both.into_iter()), Some("pt"));
    }
}
