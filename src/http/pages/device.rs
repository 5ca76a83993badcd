//! What a `User-Agent` says about a device, for the list of sessions.

/// Browsers by what their `User-Agent` contains. Nearly all claim to be several others, so the
/// order decides.
const BROWSERS: &[(&str, &str)] = &[
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("YaBrowser/", "Yandex Browser"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
];

const SYSTEMS: &[(&str, &str)] = &[
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("Linux", "Linux"),
];

/// What is shown of a program that is not a browser, in characters.
const MAX_PROGRAM: usize = 60;

/// A device as far as it can be recognised.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Device<'a> {
    /// A browser on a system.
    Browser(&'static str, &'static str),
    /// A program, by the first word of its `User-Agent`.
    Program(&'a str),
    /// It said nothing about itself.
    Unknown,
}

impl<'a> Device<'a> {
    /// Reads a `User-Agent`.
    pub(super) fn of(user_agent: &'a str) -> Self {
        let find = |known: &[(&str, &'static str)]| {
            known
                .iter()
                .find_map(|(mark, name)| user_agent.contains(mark).then_some(*name))
        };
        if let (Some(browser), Some(system)) = (find(BROWSERS), find(SYSTEMS)) {
            return Self::Browser(browser, system);
        }
        match user_agent
            .split([' ', '/', ';', '('])
            .find(|word| !word.is_empty())
        {
            Some(word) => {
                let end = word
                    .char_indices()
                    .nth(MAX_PROGRAM)
                    .map_or(word.len(), |(i, _)| i);
                Self::Program(&word[..end])
            }
            None => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_and_programs_are_recognised() {
        for (user_agent, device) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/130.0.0.0 Safari/537.36",
                Device::Browser("Chrome", "Linux"),
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                 Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0",
                Device::Browser("Edge", "Windows"),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 \
                 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1",
                Device::Browser("Safari", "iPhone"),
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:131.0) Gecko/20100101 Firefox/131.0",
                Device::Browser("Firefox", "macOS"),
            ),
            ("okhttp/4.12.0", Device::Program("okhttp")),
            ("python-requests/2.32", Device::Program("python-requests")),
            ("<script>", Device::Program("<script>")),
            ("", Device::Unknown),
            (" / ", Device::Unknown),
        ] {
            assert_eq!(Device::of(user_agent), device, "{user_agent}");
        }
    }
}
