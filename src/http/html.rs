//! The few pages for people: one frame around them, and no markup from outside.

/// A whole page; `body` is markup.
pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{title}</title>\
         <style>:root{{color-scheme:light dark}}body{{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;\
         padding:0 1rem}}article{{border:1px solid #8888;border-radius:.5rem;padding:1rem;margin:1rem 0}}\
         h2{{font-size:1rem;margin:0}}small{{color:GrayText}}pre{{white-space:pre-wrap}}\
         output{{display:block;font:bold 2rem ui-monospace,monospace;letter-spacing:.2em}}\
         button{{font:inherit;padding:.75rem 1.25rem;border:0;border-radius:.5rem;background:#b3261e;color:#fff}}</style>\
         </head><body>{body}</body></html>"
    )
}

/// Takes the meaning of markup from a text.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
