//! The parameters of a request, decoded.

/// Longest request that is kept, in bytes of its query.
pub(super) const MAX_LENGTH: usize = 8 * 1024;

/// The parameters of a request of a client, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(String, String)>);

/// A parameter that came more than once (RFC 6749, section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeated;

impl Parameters {
    /// Decodes a query.
    pub fn parse(query: &str) -> Self {
        form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect()
    }

    /// The query that [`Parameters::parse`] decodes.
    pub fn to_query(&self) -> String {
        form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.0)
            .finish()
    }

    /// The value of a parameter. An empty one counts as missing (RFC 6749, section 3.1).
    ///
    /// # Errors
    /// When it came more than once.
    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, Repeated> {
        let mut values = self.0.iter().filter(|(known, _)| known == name);
        let value = values.next().map(|(_, value)| value.as_str());
        match values.next() {
            Some(_) => Err(Repeated),
            None => Ok(value.filter(|value| !value.is_empty())),
        }
    }

    /// Those with these names alone.
    pub(super) fn only(&self, names: &[&str]) -> Self {
        let known = self.0.iter();
        let known = known.filter(|(name, _)| names.contains(&name.as_str()));
        Self(known.cloned().collect())
    }
}

impl FromIterator<(String, String)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_parameters_are_missing_and_repeated_ones_an_error() {
        let parameters = Parameters::parse("a=1&b=&c=x+y%26z&d=1&d=1&e=&e=2");
        assert_eq!(parameters.get("a"), Ok(Some("1")));
        assert_eq!(parameters.get("b"), Ok(None));
        assert_eq!(parameters.get("c"), Ok(Some("x y&z")));
        assert_eq!(parameters.get("d"), Err(Repeated));
        assert_eq!(parameters.get("e"), Err(Repeated));
        assert_eq!(parameters.get("f"), Ok(None));
        assert_eq!(Parameters::parse(&parameters.to_query()), parameters);
        assert_eq!(parameters.only(&["c", "f"]).to_query(), "c=x+y%26z");
    }
}
