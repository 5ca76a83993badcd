//! What differs between an account before and after an update, in the words of the audit log.

use crate::domain::{EventKind, User};

/// The names of the changed fields of the profile, not their values.
///
/// An address that waits for its confirmation is not changed yet: [`changes_of_state`] names it.
pub(super) fn changed_fields(before: &User, after: &User) -> Vec<&'static str> {
    let (old, new) = (&before.profile, &after.profile);
    [
        ("first_name", old.first_name != new.first_name),
        ("last_name", old.last_name != new.last_name),
        ("phone", old.phone != new.phone),
        ("gender", old.gender != new.gender),
        ("country", old.country != new.country),
        ("address", old.address != new.address),
        ("birthday", old.birthday != new.birthday),
        ("photo", before.photo != after.photo),
        // Another spelling of the address, or a change back to the confirmed one.
        (
            "email",
            before.shown_email() != after.shown_email() && after.new_email.is_none(),
        ),
    ]
    .into_iter()
    .filter_map(|(name, is_other)| is_other.then_some(name))
    .collect()
}

/// The entries about what is more than a field of the profile.
pub(super) fn changes_of_state(before: &User, after: &User) -> Vec<EventKind> {
    let mut kinds = Vec::new();
    if after.new_email.is_some() && before.new_email != after.new_email {
        kinds.push(EventKind::EmailChangeRequested);
    }
    match (before.is_active, after.is_active) {
        (false, true) => kinds.push(EventKind::UserActivated),
        (true, false) => kinds.push(EventKind::UserDeactivated),
        _ => {}
    }
    match (before.is_staff, after.is_staff) {
        (false, true) => kinds.push(EventKind::UserPromoted),
        (true, false) => kinds.push(EventKind::UserDemoted),
        _ => {}
    }
    kinds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{BirthDate, Profile, Timestamp};

    fn user() -> User {
        User {
            id: 1,
            email: "ann@example.com".into(),
            new_email: None,
            profile: Profile::default(),
            photo: None,
            is_active: true,
            is_staff: false,
            verified_at: Some(Timestamp::from_unix_millis(1)),
            last_login_at: None,
            created_at: Timestamp::from_unix_millis(1),
            updated_at: Timestamp::from_unix_millis(1),
            external_id: None,
            has_factor: false,
        }
    }

    fn changed(change: impl FnOnce(&mut User)) -> (Vec<&'static str>, Vec<EventKind>) {
        let before = user();
        let mut after = user();
        change(&mut after);
        (
            changed_fields(&before, &after),
            changes_of_state(&before, &after),
        )
    }

    #[test]
    fn every_field_is_named() {
        assert_eq!(changed(|_| {}), (vec![], vec![]));
        let (fields, states) = changed(|user| {
            user.profile = Profile {
                first_name: "Ann".into(),
                last_name: "Example".into(),
                phone: "+4930".into(),
                address: "Street 1".into(),
                gender: "F".into(),
                country: "DE".into(),
                birthday: BirthDate::parse("1990-01-02").ok(),
            };
            user.photo = Some("a.jpg".into());
            user.email = "Ann@example.com".into();
        });
        assert_eq!(
            fields,
            [
                "first_name",
                "last_name",
                "phone",
                "gender",
                "country",
                "address",
                "birthday",
                "photo",
                "email"
            ]
        );
        assert!(states.is_empty());
        // What the server itself keeps does not change the profile.
        let (fields, states) = changed(|user| {
            user.updated_at = Timestamp::from_unix_millis(2);
            user.last_login_at = Some(Timestamp::from_unix_millis(2));
        });
        assert!(fields.is_empty() && states.is_empty());
    }

    #[test]
    fn changes_of_state_have_entries_of_their_own() {
        let pending = changed(|user| user.new_email = Some("new@example.com".into()));
        assert_eq!(pending, (vec![], vec![EventKind::EmailChangeRequested]));
        let both = changed(|user| {
            user.is_active = false;
            user.is_staff = true;
        });
        let kinds = vec![EventKind::UserDeactivated, EventKind::UserPromoted];
        assert_eq!(both, (vec![], kinds));
    }
}
