//! Genders.

/// The gender in a profile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gender {
    /// `M`
    Male,
    /// `F`
    Female,
    /// `O`
    Other,
}

impl Gender {
    /// All genders.
    pub const ALL: [Self; 3] = [Self::Male, Self::Female, Self::Other];

    /// Parses the one-letter form.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "M" => Some(Self::Male),
            "F" => Some(Self::Female),
            "O" => Some(Self::Other),
            _ => None,
        }
    }

    /// The one-letter form.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Male => "M",
            Self::Female => "F",
            Self::Other => "O",
        }
    }
}
