//! A browser without a screen: cookies, forms and where they lead.

use crate::support::{Answer, PASSWORD, TestServer};

/// A browser, as far as these tests need one: it keeps cookies and says where forms come from.
pub struct Browser<'a> {
    server: &'a TestServer,
    pub cookies: Vec<(String, String)>,
}

impl<'a> Browser<'a> {
    pub fn new(server: &'a TestServer) -> Self {
        Self {
            server,
            cookies: Vec::new(),
        }
    }

    pub fn cookie_header(&self) -> String {
        let pairs = self.cookies.iter();
        let pairs: Vec<_> = pairs
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        pairs.join("; ")
    }

    pub fn keep_cookies(&mut self, answer: &Answer) {
        for set in answer.headers("set-cookie") {
            let pair = set.split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !set.contains("Max-Age=0") {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }

    pub fn get(&mut self, path: &str) -> Answer {
        let cookies = self.cookie_header();
        let answer = self.server.request(
            "GET",
            path,
            &[("cookie", &cookies), ("accept", "text/html")],
            "",
        );
        self.keep_cookies(&answer);
        answer
    }

    /// Sends a form as a browser that was on a page of ours.
    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_with(path, &[("sec-fetch-site", "same-origin")], fields)
    }

    pub fn post_with(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        fields: &[(&str, &str)],
    ) -> Answer {
        let body: String = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let cookies = self.cookie_header();
        let mut all = vec![
            ("cookie", cookies.as_str()),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        all.extend_from_slice(headers);
        let answer = self.server.request("POST", path, &all, &body);
        self.keep_cookies(&answer);
        answer
    }

    /// The token in the forms of a page.
    pub fn token(&mut self, path: &str) -> String {
        let page = self.get(path);
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        let start = page.body.find("name=\"form_token\" value=\"").unwrap() + 25;
        let end = page.body[start..].find('"').unwrap();
        page.body[start - 1..start + end]
            .trim_matches('"')
            .to_owned()
    }

    pub fn sign_in(&mut self, email: &str) -> Answer {
        let token = self.token("/account/sign-in/");
        self.post(
            "/account/sign-in/",
            &[
                ("form_token", &token),
                ("email", email),
                ("password", PASSWORD),
            ],
        )
    }

    pub fn secret(&self) -> &str {
        let session = self.cookies.iter().find(|(name, _)| name == "session");
        &session.expect("signed in").1
    }
}

impl Answer {
    /// The value of a hidden field of a page, as it is written there.
    pub fn hidden(&self, name: &str) -> Option<&str> {
        let start = format!("<input type=\"hidden\" name=\"{name}\" value=\"");
        let (_, rest) = self.body.split_once(&start)?;
        rest.split('"').next()
    }
}

/// Asserts that the answer sends the browser to a path.
#[track_caller]
pub fn assert_leads_to(answer: &Answer, path: &str) {
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert_eq!(answer.header("location"), Some(path));
}
