//! Suggests a known name for a misspelt one. Does not know the settings.

/// Most edits between a misspelt name and its suggestion.
const MAX_EDITS: usize = 3;

/// Fewest bytes of a part of a name that suggest the whole name.
const MIN_PART_BYTES: usize = 4;

/// The candidate closest to the misspelt name, if one is close enough.
///
/// Case is ignored, and dashes are underscores.
pub(super) fn closest<'a>(
    wrong: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let normal = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let wrong = normal(wrong);
    candidates
        .filter_map(|candidate| {
            let name = normal(candidate);
            let distance = edits(&wrong, &name);
            let is_near = distance <= (name.chars().count() / 3).clamp(1, MAX_EDITS);
            let is_part = wrong.len() >= MIN_PART_BYTES && name.contains(&wrong);
            (is_near || is_part).then_some((!is_near, distance, candidate))
        })
        .min()
        .map(|(_, _, candidate)| candidate)
}

/// The edit distance of two texts: insertions, deletions, replacements and swaps of neighbours
/// (optimal string alignment).
fn edits(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("path", "path", 0),
            ("acess", "access", 1),
            ("pahts", "paths", 1),
            ("listen", "silent", 4),
        ] {
            assert_eq!(edits(a, b), expected, "{a} {b}");
            assert_eq!(edits(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn close_names_are_suggested_and_distant_ones_are_not() {
        let keys = ["access_minutes", "refresh_days", "issuer", "dir"];
        let closest = |wrong| closest(wrong, keys.into_iter());
        assert_eq!(closest("acess_minutes"), Some("access_minutes"));
        assert_eq!(closest("Access-Minutes"), Some("access_minutes"));
        assert_eq!(closest("refresh"), Some("refresh_days"));
        assert_eq!(closest("di"), Some("dir"));
        assert_eq!(closest("colour"), None);
        assert_eq!(closest("day"), None);
    }
}
