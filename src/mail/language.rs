//! Choosing the language of a mail by what its reader prefers.

/// How many languages of an `Accept-Language` are looked at; nobody reads more.
const MAX_RANGES: usize = 32;

/// The language ranges of an `Accept-Language` (RFC 9110, section 12.5.4), the most preferred one first. Those that are
/// refused (`q=0`) and the wildcard are left out.
pub(super) fn preferred(accept_language: &str) -> Vec<&str> {
    let mut ranges: Vec<(u16, &str)> = accept_language
        .split(',')
        .take(MAX_RANGES)
        .filter_map(|item| {
            let mut parameters = item.split(';').map(str::trim);
            let range = parameters.next().filter(|range| is_tag(range))?;
            let weight = match parameters.find_map(|parameter| parameter.strip_prefix("q=")) {
                Some(weight) => thousandths(weight)?,
                None => 1_000,
            };
            (weight > 0).then_some((weight, range))
        })
        .collect();
    // Stable: of two equally good ones the one that stands first.
    ranges.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    ranges.into_iter().map(|(_, range)| range).collect()
}

/// The best of the `tags` for a language range: the range itself or the next shorter form of it, as RFC 4647, section 3.4
/// (lookup) has it; where there is none, any variety of the same language.
pub(super) fn look_up<'a>(
    range: &str,
    tags: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    let mut wanted = range;
    loop {
        if let Some(tag) = tags.clone().find(|tag| tag.eq_ignore_ascii_case(wanted)) {
            return Some(tag);
        }
        let Some((shorter, _)) = wanted.rsplit_once('-') else {
            break;
        };
        // A single letter only introduces what follows it, and goes with it.
        wanted = match shorter.rsplit_once('-') {
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

/// Whether a text has the form of a language tag (RFC 5646, in broad outline).
pub(super) fn is_tag(text: &str) -> bool {
    let mut subtags = text.split('-');
    let is_language = |subtag: &str| {
        (2..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphabetic())
    };
    subtags.next().is_some_and(is_language)
        && subtags.all(|subtag| {
            (1..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric())
        })
}

/// A weight from 0 to 1 in thousandths.
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
    fn ranges_come_by_weight_and_then_in_their_order() {
        for (header, ranges) in [
            ("", &[][..]),
            ("de", &["de"]),
            ("de-AT, de;q=0.9, en;q=0.8", &["de-AT", "de", "en"]),
            ("en;q=0.2,fr;q=0.35 , it ;q=1.000", &["it", "fr", "en"]),
            ("da, *;q=0.5, es;q=0", &["da"]),
            ("a, 12, x_y, de;q=2, de;q=0.1234, pt;q=abc, fr", &["fr"]),
            ("zh-Hant-TW;q=0.5, \u{fc}", &["zh-Hant-TW"]),
        ] {
            assert_eq!(preferred(header), ranges, "{header}");
        }
        assert_eq!(preferred(&"de,".repeat(100_000)).len(), MAX_RANGES);
    }

    #[test]
    fn the_nearest_language_is_found() {
        let tags = ["de", "en", "pt-BR", "zh-Hant"];
        for (range, tag) in [
            ("de", Some("de")),
            ("DE-at", Some("de")),
            ("de-Latn-x-old", Some("de")),
            ("pt-br", Some("pt-BR")),
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
