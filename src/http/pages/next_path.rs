//! Where a page leads to when its work is done: the `next` of a sign-in or a re-authentication.

/// Where somebody goes who did not ask for a page.
pub(super) const HOME: &str = "/account/";

/// Longest path that is followed, in bytes.
const MAX_LENGTH: usize = 2_000;

/// A path of this server's pages. Anything else, above all another origin, becomes `None`.
///
/// Browsers read `//host`, `/\host` and a path with a tab or line break in it as another origin
/// (WHATWG URL), so only printable ASCII without a backslash passes.
pub(super) fn parse(next: &str) -> Option<&str> {
    let is_plain =
        next.len() <= MAX_LENGTH && next.bytes().all(|b| b.is_ascii_graphic() && b != b'\\');
    let is_ours = ["/account/", "/console/", "/o/"]
        .iter()
        .any(|prefix| next.starts_with(prefix));
    (is_plain && is_ours).then_some(next)
}

/// The path of a page of ours with `next` in its query, where there is one to follow.
pub(super) fn with_next(path: &str, next: &str) -> String {
    let Some(next) = parse(next) else {
        return path.to_owned();
    };
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}next={}", encoded(next))
}

/// A text as part of a query.
pub(super) fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// As [`parse`], of a path that is this one or below it.
pub(super) fn below<'a>(next: &'a str, path: &str) -> Option<&'a str> {
    parse(next).filter(|next| next.starts_with(path))
}

/// The path to go to: `next` if it is one of ours, otherwise the overview.
pub(super) fn or_home(next: &str) -> &str {
    parse(next).unwrap_or(HOME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_paths_are_followed() {
        for own in [
            "/account/",
            "/account/email/?x=1",
            "/console/users/7/",
            "/o/authorize/?a=b",
        ] {
            assert_eq!(parse(own), Some(own));
        }
        for foreign in [
            "",
            "/",
            "account/",
            "//evil.example/account/",
            "/\\evil.example",
            "/account/\\..\\..",
            "/account/\n/evil",
            "\t//evil.example",
            "https://evil.example/account/",
            "javascript:alert(1)",
            "/account/ä",
        ] {
            assert_eq!(parse(foreign), None, "{foreign:?}");
        }
        assert_eq!(or_home("//evil.example"), HOME);
    }

    #[test]
    fn the_next_path_is_added_to_a_query() {
        assert_eq!(
            with_next("/account/sign-in/", "/account/email/?x=1"),
            "/account/sign-in/?next=%2Faccount%2Femail%2F%3Fx%3D1"
        );
        assert_eq!(
            with_next("/account/confirm/?email=a%40b.example", "/o/authorize/"),
            "/account/confirm/?email=a%40b.example&next=%2Fo%2Fauthorize%2F"
        );
        assert_eq!(
            with_next("/account/sign-in/", "//evil.example"),
            "/account/sign-in/"
        );
    }
}
