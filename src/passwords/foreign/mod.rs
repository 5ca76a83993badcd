//! Password hashes of other programs: which ones are accepted, and verifying them.
//!
//! Knows the forms that imported accounts bring along, and our own, which is one of Django's. It
//! writes no hash; rehashing is left to the sign-in. Verification is slow on purpose and blocks its
//! thread, so only the hashing threads of the parent module call it.
//!
//! A hash carries its own cost, and one that asks for hours or for all the memory would hold a
//! hashing thread at every attempt to sign in. Hashes above the bounds of these modules therefore
//! count as unknown, so that the import refuses them. The bounds are several times what any form
//! commonly uses, and allow for about ten seconds of an ordinary core.

mod bcrypt;
mod crypt;
mod memory_hard;
mod pbkdf2;

use base64::Engine as _;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use self::bcrypt::Input;
use self::crypt::ShaCryptFunction;
use self::pbkdf2::Function;

/// Longest accepted hash, in bytes. Django's own column holds 128 characters.
const LONGEST_HASH: usize = 512;

/// A parsed hash.
trait ForeignHash {
    /// Whether a password matches. `None` when the hash turns out to be unusable.
    fn matches(&self, password: &str) -> Option<bool>;
}

/// What a parser returns: `None` for what is not of its form, or beyond its bounds.
type Parsed = Option<Box<dyn ForeignHash>>;

/// Whether `hash` is well-formed, of a known form, and within the bounds. Cheap: nothing is hashed.
///
/// The forms:
/// - Django's `bcrypt_sha256$`, `bcrypt$`, `pbkdf2_sha256$`, `pbkdf2_sha1$`, `argon2$`, `scrypt$`;
/// - bcrypt: `$2a$`, `$2b$`, `$2y$`, and `$wp$2y$` of WordPress;
/// - Argon2 in the PHC string format: `$argon2id$`, `$argon2i$`, `$argon2d$`;
/// - PBKDF2 of passlib or in the PHC string format: `$pbkdf2$`, `$pbkdf2-sha1$`, `$pbkdf2-sha256$`,
///   `$pbkdf2-sha512$`; the base64 blobs of ASP.NET Identity 2 and 3;
/// - scrypt: `$fbscrypt$` of Firebase as GoTrue writes it, and `<salt>:<hash>` of better-auth;
/// - `$5$` and `$6$` of crypt(3), also as LDAP's `{CRYPT}`; `$P$` and `$H$` of phpass;
/// - LDAP's `{SSHA}`, `{SSHA256}`, `{SSHA512}`;
/// - whatever begins with `!`, which is how Django marks an account without a usable password.
#[must_use]
pub fn is_known(hash: &str) -> bool {
    parse(hash).is_some()
}

/// Whether a password matches a hash; `None` when [`is_known`] is false. An unusable password
/// matches nothing, without the work of a real verification.
pub(super) fn verify(password: &str, hash: &str) -> Option<bool> {
    parse(hash)?.matches(password)
}

/// The hash of an account without a usable password.
struct Unusable;

impl ForeignHash for Unusable {
    fn matches(&self, _: &str) -> Option<bool> {
        Some(false)
    }
}

fn parse(text: &str) -> Parsed {
    if text.len() > LONGEST_HASH {
        return None;
    }
    match text.as_bytes().first()? {
        b'!' => Some(Box::new(Unusable)),
        b'$' => parse_modular(text),
        b'{' => parse_ldap(text),
        _ => match text.split_once('$') {
            Some((algorithm, rest)) => parse_django(algorithm, rest),
            None if text.contains(':') => memory_hard::parse_better_auth(text),
            None => pbkdf2::parse_aspnet(text),
        },
    }
}

/// Parses the forms of Django, which begin with the name of a hasher.
fn parse_django(algorithm: &str, rest: &str) -> Parsed {
    match algorithm {
        "bcrypt_sha256" => bcrypt::parse(Input::Sha256, rest),
        "bcrypt" => bcrypt::parse(Input::Plain, rest),
        "pbkdf2_sha256" => pbkdf2::parse_django(Function::Sha256, rest),
        "pbkdf2_sha1" => pbkdf2::parse_django(Function::Sha1, rest),
        "argon2" => memory_hard::parse_argon2(rest),
        "scrypt" => memory_hard::parse_django_scrypt(rest),
        _ => None,
    }
}

/// Parses the forms of crypt(3) and its descendants, which begin with `$<identifier>$`.
fn parse_modular(text: &str) -> Parsed {
    let (identifier, rest) = text[1..].split_once('$')?;
    match identifier {
        "2a" | "2b" | "2y" => bcrypt::parse(Input::Plain, text),
        "wp" => bcrypt::parse(Input::WordPress, text.strip_prefix("$wp")?),
        "argon2id" | "argon2i" | "argon2d" => memory_hard::parse_argon2(&text[1..]),
        "pbkdf2" | "pbkdf2-sha1" => pbkdf2::parse_modular(Function::Sha1, rest),
        "pbkdf2-sha256" => pbkdf2::parse_modular(Function::Sha256, rest),
        "pbkdf2-sha512" => pbkdf2::parse_modular(Function::Sha512, rest),
        "fbscrypt" => memory_hard::parse_firebase(rest),
        "5" => crypt::parse_sha_crypt(ShaCryptFunction::Sha256, rest),
        "6" => crypt::parse_sha_crypt(ShaCryptFunction::Sha512, rest),
        "P" | "H" => crypt::parse_phpass(rest),
        _ => None,
    }
}

/// Parses the forms of LDAP servers, which begin with `{<scheme>}`.
fn parse_ldap(text: &str) -> Parsed {
    let (scheme, rest) = text[1..].split_once('}')?;
    let scheme = scheme.to_ascii_uppercase();
    match &*scheme {
        "CRYPT" if rest.starts_with('$') => parse_modular(rest),
        _ => crypt::parse_ssha(&scheme, rest),
    }
}

/// The fields between dollar signs, when there are exactly that many.
fn fields<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.split('$').collect::<Vec<_>>().try_into().ok()
}

/// A number as every hasher writes it: digits alone, without a leading zero.
fn number(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// Decodes base64 of the standard alphabet, the one for URLs, or passlib's, which has a dot for the
/// plus sign; with or without padding.
fn any_base64(text: &str) -> Option<Vec<u8>> {
    const CONFIG: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if text.contains(['-', '_']) {
        &URL_SAFE
    } else {
        &STANDARD
    };
    GeneralPurpose::new(alphabet, CONFIG)
        .decode(text.replace('.', "+"))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCII: &str = "river-Boat-2291";
    const BEYOND_ASCII: &str = "pässwört-密码-😀";
    /// Longer than bcrypt reads, and than a block of SHA-256, which HMAC treats differently.
    const LONG: &str = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-ümlaut-and-a-tail-that-goes-\
         beyond-seventy-two-bytes";

    /// Made by Django 5.2 with bcrypt 5.0 and argon2-cffi 25.1, at low cost.
    const DJANGO: &[(&str, &str)] = &[
        (
            ASCII,
            "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuBh97FWWvRedaNKU0mQ/EPOPuyk9oNAa",
        ),
        (
            ASCII,
            "bcrypt_sha256$$2b$06$QhDIQPlwbMcJHxkVN/ZOK.RYm0DGpwFFg4iKxefxuv1D/gwBsU4Om",
        ),
        (
            BEYOND_ASCII,
            "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuuQigQi5z3sokMh0odfqwJXoG3BVtP7S",
        ),
        (
            LONG,
            "bcrypt_sha256$$2b$04$abcdefghijklmnopqrstuuvMuLAzc7v5sWei.T4viDUDtMFQpeHu.",
        ),
        (
            ASCII,
            "bcrypt$$2b$04$abcdefghijklmnopqrstuuh8GY5agmFLK/xHASVpRULveBL7VpuZ.",
        ),
        (
            ASCII,
            "bcrypt$$2a$06$eVq5WrXvAuktpIES1r2HU.DwNLmYFmgO0YaO3bPaxID/uDG/5QJeq",
        ),
        (
            BEYOND_ASCII,
            "bcrypt$$2b$04$abcdefghijklmnopqrstuuS0ZZ/8FXRYut69zTTik.l0R/ZzyOXue",
        ),
        (
            ASCII,
            "pbkdf2_sha256$1000$seasalt$c4CsE8ycS3AWCM2yZHjzC/ejmg4XkwmEM5kI7oLfgoc=",
        ),
        (
            ASCII,
            "pbkdf2_sha256$1$seasalt1$6nxmV+gGfodCDrskfcP3euWTjp3GPsMllkIhT30LHJU=",
        ),
        (
            BEYOND_ASCII,
            "pbkdf2_sha256$1000$seasalt$O94NvpXQ9wW2Y0HaqLUdrjdZdHoFEIHoDvIG+Xfmc50=",
        ),
        (
            LONG,
            "pbkdf2_sha256$1000$seasalt$4YpmxLSx+iMyJy3ojIm+NcL9Dv/qaZTC5rh2a97MjTY=",
        ),
        (
            ASCII,
            "pbkdf2_sha1$1000$seasalt$d3xOOhnoMERKhH4W99rFb8GSIII=",
        ),
        (
            BEYOND_ASCII,
            "pbkdf2_sha1$1000$seasalt$2FwIhgiD/sTlRtO3aJGjeWSnjyw=",
        ),
        (
            LONG,
            "pbkdf2_sha1$1000$seasalt$yi+EmPuJHX5KnhT+m1Q0+GZDzFc=",
        ),
        (
            ASCII,
            "argon2$argon2id$v=19$m=128,t=2,p=2$c2Vhc2FsdHNlYXNhbHQ$Gv/xUfHgB0n2y8M+NMsmFogAjREOdi8VZGcHBTWJ7qc",
        ),
        (
            BEYOND_ASCII,
            "argon2$argon2id$v=19$m=128,t=2,p=2$c2Vhc2FsdHNlYXNhbHQ$scqb0mmywn9NRZv4pgT+ioBY5+cOh+bxoN6XS3XWtl8",
        ),
        (
            LONG,
            "argon2$argon2id$v=19$m=128,t=2,p=2$c2Vhc2FsdHNlYXNhbHQ$iFxYlEadvOu/8sb5cdXr3ALm9RmLVPa5AQKktkw0tVw",
        ),
        (
            ASCII,
            "argon2$argon2i$v=19$m=512,t=2,p=2$cf+xxc947X8igPMkNB2Rog$eDvM6D1pkOYOVf3LbuKwHHV5e5uQHgdZvVh4gEDxBog",
        ),
        (
            ASCII,
            "argon2$argon2d$v=19$m=64,t=1,p=1$bPeaU3f6aFtg/VtwKaLd8A$Co3poRXSdm3PEBKLUIKWJRDrtU2NzVsZwCqruu+ORQc",
        ),
        (
            ASCII,
            "scrypt$1024$seasalt$8$2$Wnvd1myFU1qvTjT3nXF1VPAK7Fw/dnlIVO91wWE++cb0Q8HfBpZRa20x8FQC4ESEjV/ScYV6H3hKQ4uE\
             75y4ww==",
        ),
        (
            BEYOND_ASCII,
            "scrypt$1024$seasalt$8$2$6H/A0nBsR7kqehnF7dcicx/tUe/ESVeN1ANvKpNF5nV3uJCm6gWkjAsQVQ75/4l0W4g4uRms05E0THKa\
             wGjAug==",
        ),
        (
            LONG,
            "scrypt$1024$seasalt$8$2$19aO8kRBxypQtrAtsnX9JrgsjZP/sCgzZzg8XUSsUmMhvCpvlNzSgi9hfRgtnkvAekqGLY8SDGDR6+F0\
             WiNfRA==",
        ),
    ];

    /// bcrypt by libxcrypt, Argon2 by its reference implementation.
    const PLAIN: &[(&str, &str)] = &[
        (
            BEYOND_ASCII,
            "$2a$04$abcdefghijklmnopqrstuuS0ZZ/8FXRYut69zTTik.l0R/ZzyOXue",
        ),
        (
            BEYOND_ASCII,
            "$2b$04$abcdefghijklmnopqrstuuS0ZZ/8FXRYut69zTTik.l0R/ZzyOXue",
        ),
        (
            ASCII,
            "$2y$04$abcdefghijklmnopqrstuuh8GY5agmFLK/xHASVpRULveBL7VpuZ.",
        ),
        (
            ASCII,
            "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$r0HbjpaqAxeY7/f98TlvnBkQGHRQXk1X9y3SdY+vl/k",
        ),
        (
            ASCII,
            "$argon2id$v=16$m=64,t=2,p=1$c29tZXNhbHQ$Vhjz5eGtD2OMxOZtWK9fU+mwnA8M8lBrB5BwNIBvkg8",
        ),
        (
            ASCII,
            "$argon2i$v=19$m=64,t=2,p=1$c29tZXNhbHQ$yHEm7uBqPyTcTTZzu90FzQlE2+YzBKGSYiB2/G7Krh0",
        ),
        (
            ASCII,
            "$argon2i$m=64,t=2,p=1$c29tZXNhbHQ$DlEZXfrreJoxOKXY0yDEVcUh2LWS8mAzjNSyV8re33k",
        ),
        (
            ASCII,
            "$argon2d$v=19$m=64,t=2,p=1$c29tZXNhbHQ$w6UnwNJiuvsRp/oCQKeq1aGSUZP3eiOIiyDWt6ohcus",
        ),
    ];

    /// By passlib 1.7, Python's hashlib, and pyca/bcrypt, in the forms of Keycloak, ASP.NET Identity,
    /// better-auth and WordPress; then the examples of the specification of SHA-crypt, of
    /// firebase/scrypt, and of phpass.
    #[rustfmt::skip]
    const OTHERS: &[(&str, &str)] = &[
        (ASCII, "$pbkdf2-sha256$100$MDEyMzQ1Njc4OWFiY2RlZg$WmAAaH/Snmj.Kvlp9Ypfq9Vvh5zwElq2j5LdFdo5yQw"),
        (ASCII, "$pbkdf2-sha512$100$MDEyMzQ1Njc4OWFiY2RlZg$i/uSVSxWPW44Dnxsiu2qRQWuc1B.Hg8WABYMpexC85JsNg34nPy/MikRIfrLQhO1yvZ3GChI9SfIDcTh5Eqz0g"),
        (ASCII, "$pbkdf2$100$MDEyMzQ1Njc4OWFiY2RlZg$5.Arl5AMSad4NzQU1v9ciwylxHw"),
        (ASCII, "$6$rounds=1000$saltsaltsaltsalt$fZKNLNS7Cyx0VKp6spsV8WQuRRvUCoObLVHODbtm8uMtIcJNWUR1nbV/BO4MIZ9l1zfrbGQZI4Lvhws3JiRA81"),
        (ASCII, "$5$rounds=1000$short$vWHGLasY3YVKhWd82kL6CHBzrnHrFA9jM.pQVavLjgB"),
        (ASCII, "$P$5saltsaltYZ5d761x45f5HRpyM.bAo1"),
        (ASCII, "$H$6saltsaltTmF07BUg2U57Tk/VSEe.W1"),
        (ASCII, "{SSHA}m9Waa8uOnzjUTMRNsMtjO35VdmZzYWx0c2FsdA=="),
        (ASCII, "{SSHA256}zOyX6qG+nHAbfX93CRzyIOYzVDwDgLKnzxQyMefcbRxzYWx0c2FsdA=="),
        (ASCII, "{SSHA512}zLymDPvLCajwqhF+TTUXGQxax/nePDh65V4IkoGg9ib65fw0GMLBWIeASS33yXknhlUisuFXNGWNNhRrx4PeiXNhbHRzYWx0"),
        (ASCII, "$pbkdf2-sha256$275$MDEyMzQ1Njc4OWFiY2RlZg==$paxfkA/5FSgrfkhnSjNHUSJqtGLVWQw+3CTlJEwXgrdYZD1mJ49v+vz9lGWmis7vZ4d8cbkwKRlsefJqybp1OQ=="),
        (ASCII, "$pbkdf2-sha512$i=210,l=64$MDEyMzQ1Njc4OWFiY2RlZg$7M5qlpUOiZN1bUJ9QwgwCfXqoW84BngXKbdosoAS+EKscPXjsgiEB+3sbUOImR4bSQOc8cl26FOh/N+af0aeig"),
        (ASCII, "AQAAAAAAAABkAAAAEDAxMjM0NTY3ODlhYmNkZWbn4CuXkAxJp3g3NBTW/1yLDKXEfITpA6IaG2tl6pgrIQ=="),
        (ASCII, "AQAAAAEAAABkAAAAEDAxMjM0NTY3ODlhYmNkZWZaYABof9KeaP4q+Wn1il+r1W+HnPASWraPkt0V2jnJDA=="),
        (ASCII, "AQAAAAIAAABkAAAAEDAxMjM0NTY3ODlhYmNkZWaL+5JVLFY9bjgOfGyK7apFBa5zUH4eDxYAFgyl7ELzkg=="),
        (ASCII, "ADAxMjM0NTY3ODlhYmNkZWbIkWjsU/wjKfHCId2WuoMbrSzV1R9tP7aNub+JmXm6oA=="),
        (ASCII, "00112233445566778899aabbccddeeff:26a44cfecd8f6e515624a6ac7992a406456b11be168fd2a65b8a2ee4a2313386afafdffcef4dad40c572080d22818df35f87577505f059a0e5ebbe6d4de4fefe"),
        (ASCII, "$wp$2y$04$RudZdCPhYIJgtI8C5ENf1edSMOS1EjDQyULbcha3i0vTcTw0SN.5q"),
        (BEYOND_ASCII, "$pbkdf2-sha256$100$MDEyMzQ1Njc4OWFiY2RlZg$2EdJ/uAN/StE9.rb6D1dyiPeeiXwCF3nTi1YuTiQuHg"),
        (BEYOND_ASCII, "$pbkdf2-sha512$100$MDEyMzQ1Njc4OWFiY2RlZg$Y8ULsM61Ypg6YgJYbx.U2rrv3Gp8X4YwVqK5D2WmuM6QJx/x4Cjm5KwAfHAU.jN4H/.8UES3rm3KHt4oWlcXQA"),
        (BEYOND_ASCII, "$pbkdf2$100$MDEyMzQ1Njc4OWFiY2RlZg$XhUTeJ701/rDrGFTQ6JIXPdX/gA"),
        (BEYOND_ASCII, "$6$rounds=1000$saltsaltsaltsalt$caujZljMl6Bp4mDoC62ghX9x4B10jSsA3pHNAy5gjvJ5u4VUbpWakWo8wp9AkXAd0dRoIZ6iNfSMUNKggQVEu1"),
        (BEYOND_ASCII, "$5$rounds=1000$short$5QzFQOsOvHpbXZjGxr9xeoDfw5XESWAg362u6MgOae."),
        (BEYOND_ASCII, "$P$5saltsaltNuodoRSObRmclKzm/3aRn."),
        (BEYOND_ASCII, "$H$6saltsaltJdjsXXPz0PuhrwtuI4yZW0"),
        (BEYOND_ASCII, "{SSHA}M2dZwPngXycoFF42VFeXIcUoSINzYWx0c2FsdA=="),
        (BEYOND_ASCII, "{SSHA256}y9cx8TrMeFqKad8YdDfGfO0wo9qU9JoCtUCdTuNr0/1zYWx0c2FsdA=="),
        (BEYOND_ASCII, "{SSHA512}7KAkvldlTWdMJy7GChGmkrnbmGPiK2GXOHsBbduSyOJHbp0huw48NuQ5q6iDpM6DRbt35aIFXlRPJOAk7TD3unNhbHRzYWx0"),
        (BEYOND_ASCII, "$pbkdf2-sha256$275$MDEyMzQ1Njc4OWFiY2RlZg==$HjL500s7/I2lwmJ1EwShIe0Mv54n+bCtdpqPA4sp1fmRZDby9VXNgBLN0Ea9hEi1/N8/mOhWBYX7AOtmSyVL1w=="),
        (BEYOND_ASCII, "$pbkdf2-sha512$i=210,l=64$MDEyMzQ1Njc4OWFiY2RlZg$mQJKRw1suvVka3Y5umteXqUnj5Yc5ztDoilwhK9xxC9FZOldEBie4deAHkPdyWVEbRvrmZ+4zIBxZ9BddzME3A"),
        (BEYOND_ASCII, "AQAAAAAAAABkAAAAEDAxMjM0NTY3ODlhYmNkZWZeFRN4nvTX+sOsYVNDokhc91f+AGmSsPGzIlL9W60ZFg=="),
        (BEYOND_ASCII, "AQAAAAEAAABkAAAAEDAxMjM0NTY3ODlhYmNkZWbYR0n+4A39K0T36tvoPV3KI956JfAIXedOLVi5OJC4eA=="),
        (BEYOND_ASCII, "AQAAAAIAAABkAAAAEDAxMjM0NTY3ODlhYmNkZWZjxQuwzrVimDpiAlhvH5Tauu/canxfhjBWorkPZaa4zg=="),
        (BEYOND_ASCII, "ADAxMjM0NTY3ODlhYmNkZWbkaWtytmlB1W38mQ2MqJXun2dERPNjmHZZ7Kf5pxs53Q=="),
        (BEYOND_ASCII, "00112233445566778899aabbccddeeff:0ad9d7e67458fe2f859d29fbc7a29099a77caa0212db4e0b450e82536d25d08019ef65c500122252c0f28d629a841bb7740dfa049503ab50dd15453ddc54aa42"),
        (BEYOND_ASCII, "$wp$2y$04$/7qk.8sgU8bw2f8qBMOeCOsDNHSKQeVTTRHlQpXH9eICFF351ldD."),
        (LONG, "$pbkdf2-sha256$100$MDEyMzQ1Njc4OWFiY2RlZg$/QDlwZioBw/kfO6/G7oWnnJY6KQf7QE7enfVu726feo"),
        (LONG, "$pbkdf2-sha512$100$MDEyMzQ1Njc4OWFiY2RlZg$gxMxQt8xm6WaNzk3GaZP9LOF5dgbSUlUHHEOlQ6OuJbArfb215urNUFxcGdvvcwr8lJ0NuP2spGP80M3anbraw"),
        (LONG, "$pbkdf2$100$MDEyMzQ1Njc4OWFiY2RlZg$AWrZB2IYp.kUrQ2kyvhAYMu03TI"),
        (LONG, "$6$rounds=1000$saltsaltsaltsalt$GqoeyLgEpuxjIFhx4dxYbZidRRstzLGrXOTEjXc/m8M8a2.BPgINbNJHiiZE04ue42Mqux7rOnLCoSDkPbcId/"),
        (LONG, "$5$rounds=1000$short$7ItvoGOLbRbKko.NoFkoVcDs0yZzTNYwhfzCyeQ9hkC"),
        (LONG, "$P$5saltsaltQzvYfygo8Oi09xjVrVZT41"),
        (LONG, "$H$6saltsaltF/eMCgWxK8fPenE8plvfp0"),
        (LONG, "{SSHA}uTpc6ADWENwNOG2Rdsvntt/LiANzYWx0c2FsdA=="),
        (LONG, "{SSHA256}hulCuSLVS0G1V5rn5XkXH9CXWvPSs/HcscwnJFlISlRzYWx0c2FsdA=="),
        (LONG, "{SSHA512}RP3V3lC4pLMFkX11uNa7IfIWDdZAWlfK51Cpd8/8k/ulKVrLvIzd/EesnwqN2X+THBONMNbOdVLxaE97b9atw3NhbHRzYWx0"),
        (LONG, "$pbkdf2-sha256$275$MDEyMzQ1Njc4OWFiY2RlZg==$Eg1GrYbtrgNkmS8bE55SSaoG6InRfkJj7AvtxfTrJNZKHSUMyxrMP8nCloF+l893zNnka4tiv+4vQUOuSV7rnA=="),
        (LONG, "$pbkdf2-sha512$i=210,l=64$MDEyMzQ1Njc4OWFiY2RlZg$xoLZErW2+X77vi+PUSWETkG4NJ24IjU0xTAmCG+Z6lm4hGyU44kb0HRAAaoNvsAVTgeTucD0H4AFlGkB7+fsOw"),
        (LONG, "AQAAAAAAAABkAAAAEDAxMjM0NTY3ODlhYmNkZWYBatkHYhin6RStDaTK+EBgy7TdMnJsqYb5qjT5F/k5Mg=="),
        (LONG, "AQAAAAEAAABkAAAAEDAxMjM0NTY3ODlhYmNkZWb9AOXBmKgHD+R87r8buhaecljopB/tATt6d9W7vbp96g=="),
        (LONG, "AQAAAAIAAABkAAAAEDAxMjM0NTY3ODlhYmNkZWaDEzFC3zGbpZo3OTcZpk/0s4Xl2BtJSVQccQ6VDo64lg=="),
        (LONG, "ADAxMjM0NTY3ODlhYmNkZWZK9QAeEoc5sbpO+ZMm7nwwQ6AEtoT1GUL9NdyI6CjlYA=="),
        (LONG, "00112233445566778899aabbccddeeff:b88766ab9f09cfe75e1d8a3ca838e78ee0d65c6ba320a868ae2b89d4a807c9160c2fef8535ea4a7ba385a445516f8750d983fde4b1ebf254eb4f96cbbb343d1a"),
        (LONG, "$wp$2y$04$xfZTolY8AbPqR9YLj5QwjOKFC/dLcvSpdXxYQLHGyXZ1ELJLh1b3."),
        ("Hello world!", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"),
        ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
        ("user1password", "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="),
        ("test12345", "$P$9IQRaTwmfeRo7ud9Fh4E2PdI0S3r.L0"),
    ];

    #[test]
    fn foreign_hash_matches_its_password_alone() {
        for (password, hash) in DJANGO.iter().chain(PLAIN).chain(OTHERS) {
            assert!(is_known(hash), "{hash}");
            assert_eq!(verify(password, hash), Some(true), "{hash}");
            for wrong in [
                format!("{password}x"),
                format!("x{password}"),
                String::new(),
            ] {
                assert_eq!(verify(&wrong, hash), Some(false), "{wrong:?} {hash}");
            }
        }
    }

    #[test]
    fn plain_bcrypt_reads_72_bytes() {
        // Made of the first 72 bytes, as python-bcrypt before 5.0 and PHP did.
        let hash = "bcrypt$$2b$04$abcdefghijklmnopqrstuu9Hb4kp0FBc8Sg2LDdNTNjEX0aLTrgby";
        let plain = hash.strip_prefix("bcrypt$").unwrap();
        for hash in [hash, plain] {
            assert_eq!(verify(LONG, hash), Some(true));
            assert_eq!(verify(&format!("{LONG}x"), hash), Some(true));
            assert_eq!(verify(&LONG[1..], hash), Some(false));
        }

        let full = "bcrypt$$2b$06$idwFxrZIlcMwTfd9iFsZS.fuXcIQrOgfMz7BNNbo/vGvJVPp5ccqy";
        assert_eq!(verify(&"0123456789ab".repeat(6), full), Some(true));
        assert_eq!(verify(&"0123456789ab".repeat(6)[..71], full), Some(false));
    }

    #[test]
    fn password_is_not_changed_before_verification() {
        // Django's hashes of a password with blanks around it, and of one with a combining accent.
        for (password, other, hash) in [
            (
                "  padded pass  ",
                "padded pass",
                "bcrypt_sha256$$2b$06$vEj6Cx/qSW0gTnUV0NO0.uXDGINDjkh.Qn0aaGuak66Pp8t8Vk3e2",
            ),
            (
                "cafe\u{301}-au-lait-7",
                "caf\u{e9}-au-lait-7",
                "bcrypt_sha256$$2b$06$3uQ101kluPlka143VZ8K3OH4uCCozK5zrmYnmQb32ZXBJEijEkWxi",
            ),
        ] {
            assert_eq!(verify(password, hash), Some(true), "{hash}");
            assert_eq!(verify(other, hash), Some(false), "{hash}");
        }
    }

    #[test]
    fn unusable_password_is_known_and_never_matches() {
        for hash in ["!", "!eRziGXGj23rGAvWEUnUKxf5WQP3hUEilT5JeOeuk"] {
            assert!(is_known(hash));
            for password in ["", "!", &hash[1..], hash] {
                assert_eq!(verify(password, hash), Some(false));
            }
        }
    }

    #[test]
    fn truncated_hash_is_unknown() {
        for (_, hash) in DJANGO.iter().chain(PLAIN) {
            // Argon2's hash has no fixed length, so a truncated one can be well-formed.
            let argon2 = hash.contains("argon2");
            for end in 0..hash.len() {
                let cut = &hash[..end];
                if argon2 && end + 28 > hash.len() {
                    assert_ne!(verify(ASCII, cut), Some(true), "{cut}");
                } else {
                    assert!(!is_known(cut), "{cut}");
                }
            }
        }
    }

    #[test]
    fn malformed_hash_is_unknown() {
        let bcrypt = "abcdefghijklmnopqrstuuh8GY5agmFLK/xHASVpRULveBL7VpuZ.";
        let sha256 = "c4CsE8ycS3AWCM2yZHjzC/ejmg4XkwmEM5kI7oLfgoc=";
        let argon2 = "c29tZXNhbHQ$r0HbjpaqAxeY7/f98TlvnBkQGHRQXk1X9y3SdY+vl/k";
        let scrypt = format!("{}==", "A".repeat(86));
        for hash in [
            String::new(),
            "$".into(),
            "$$$$$$$$".into(),
            ASCII.into(),
            "foo$1$2$3".into(),
            "md5$Yl6a4pnapF39GqrX01HYyt$39db8adf2a918c380519fd3cc33069e4".into(),
            format!(" $2b$04${bcrypt}"),
            format!("$2b$04${bcrypt}\n"),
            format!("$2x$04${bcrypt}"),
            format!("$2$04${bcrypt}"),
            format!("$2b$+4${bcrypt}"),
            format!("$2b$03${bcrypt}"),
            format!("$2b$04${}é", &bcrypt[..51]),
            format!("bcrypt_sha256$2b$04${bcrypt}"),
            format!("bcrypt$bcrypt$$2b$04${bcrypt}"),
            format!("pbkdf2_sha256$x$seasalt${sha256}"),
            format!("pbkdf2_sha256$0$seasalt${sha256}"),
            format!("pbkdf2_sha256$-1$seasalt${sha256}"),
            format!("pbkdf2_sha256$+1$seasalt${sha256}"),
            format!("pbkdf2_sha256$01$seasalt${sha256}"),
            format!("pbkdf2_sha256$1$${sha256}"),
            format!("pbkdf2_sha256$1$sea$salt${sha256}"),
            format!("pbkdf2_sha256$1$seasalt${}", &sha256[..43]),
            "pbkdf2_sha256$1$seasalt$".into(),
            "pbkdf2_sha256$1$seasalt$AAAA".into(),
            format!("pbkdf2_sha1$1$seasalt${sha256}"),
            format!("pbkdf2_sha512$1$seasalt${sha256}"),
            format!("argon2$v=19$m=64,t=2,p=1${argon2}"),
            format!("argon2$$argon2id$v=19$m=64,t=2,p=1${argon2}"),
            format!("$argon2x$v=19$m=64,t=2,p=1${argon2}"),
            format!("$argon2id$v=20$m=64,t=2,p=1${argon2}"),
            format!("$argon2id$v=19$m=64,p=1,t=2${argon2}"),
            format!("$argon2id$v=19$m=64,t=2${argon2}"),
            format!("$argon2id$v=19$m=64,t=0,p=1${argon2}"),
            format!("$argon2id$v=19$m=64,t=2,p=0${argon2}"),
            format!("$argon2id$v=19$m=15,t=2,p=2${argon2}"),
            format!("$argon2id$v=19$m=64,t=2,p=1,data=AAAA${argon2}"),
            format!("$argon2id$v=19$m=64,t=2,p=1${argon2}="),
            "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$".into(),
            "$argon2id$v=19$m=64,t=2,p=1$c29tZXNhbHQ$AAAA".into(),
            format!("$argon2id$v=19$m=64,t=2,p=1$c29t{}", &argon2[11..]),
            format!("scrypt$1000$seasalt$8$1${scrypt}"),
            format!("scrypt$0$seasalt$8$1${scrypt}"),
            format!("scrypt$1$seasalt$8$1${scrypt}"),
            format!("scrypt$1024$seasalt$0$1${scrypt}"),
            format!("scrypt$1024$seasalt$8$0${scrypt}"),
            format!("scrypt$1024$$8$1${scrypt}"),
            format!("scrypt$1024$seasalt$8${scrypt}"),
            "scrypt$1024$seasalt$8$1$AAAA".into(),
            format!("!{}", "x".repeat(LONGEST_HASH)),
            // PBKDF2: no rounds, another length than announced, a short hash, a bad alphabet.
            "$pbkdf2-sha256$0$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".into(),
            "$pbkdf2-sha256$i=1,l=32$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".into(),
            "$pbkdf2-sha256$1$c2FsdHNhbHQ$AAAA".into(),
            "$pbkdf2-sha256$1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAA!!".into(),
            "$pbkdf2-md5$1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA".into(),
            // ASP.NET Identity: another version, function or length.
            "AgAAAAEAAABkAAAAEDAxMjM0NTY3ODlhYmNkZWY=".into(),
            "AQAAAAcAAABkAAAAEDAxMjM0NTY3ODlhYmNkZWYAAAAAAAAAAAAAAAAAAAAA".into(),
            "AQAAAAEAAABk/////zAxMjM0NTY3ODlhYmNkZWYAAAAAAAAAAAAAAAAAAAAA".into(),
            // Firebase: without a signer key, and with a hash of another length.
            "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9A==".into(),
            "$fbscrypt$v=1,n=14,r=8,p=1,ss=Bw==,sk=jxspr8Ki0RYycVU8zykbdA==$42xEC+ixf3L2lw==$AAAA"
                .into(),
            format!("{}:{}", "0".repeat(31), "0".repeat(128)),
            format!("{}:{}", "0".repeat(32), "g".repeat(128)),
            format!("$6$rounds=x$salt${}", ".".repeat(86)),
            format!("$6$salt${}", ".".repeat(85)),
            format!("$6$saltsaltsaltsalt5${}", ".".repeat(86)),
            "$P$Bsaltsalt".into(),
            "$P$Bsaltsalt!!!!!!!!!!!!!!!!!!!!!!".into(),
            "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".into(),
            "{SSHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".into(),
            "{SSHA".into(),
        ] {
            assert!(!is_known(&hash), "{hash}");
            assert_eq!(verify(ASCII, &hash), None, "{hash}");
        }
    }

    #[test]
    fn cost_of_verification_is_bounded() {
        let bcrypt = "abcdefghijklmnopqrstuuh8GY5agmFLK/xHASVpRULveBL7VpuZ.";
        let sha256 = "c4CsE8ycS3AWCM2yZHjzC/ejmg4XkwmEM5kI7oLfgoc=";
        let argon2 = "c29tZXNhbHQ$r0HbjpaqAxeY7/f98TlvnBkQGHRQXk1X9y3SdY+vl/k";
        let scrypt = format!("{}==", "A".repeat(86));
        for (known, hash) in [
            (true, format!("$2b$17${bcrypt}")),
            (false, format!("$2b$18${bcrypt}")),
            (false, format!("bcrypt_sha256$$2b$31${bcrypt}")),
            (true, format!("pbkdf2_sha256$10000000$seasalt${sha256}")),
            (false, format!("pbkdf2_sha256$10000001$seasalt${sha256}")),
            (
                false,
                format!("pbkdf2_sha256$99999999999999999999$seasalt${sha256}"),
            ),
            // 64 bytes are four blocks of SHA-1.
            (true, format!("$pbkdf2$2500000$c2FsdA${}", "A".repeat(86))),
            (false, format!("$pbkdf2$2500001$c2FsdA${}", "A".repeat(86))),
            (true, format!("$6$rounds=1000000$salt${}", ".".repeat(86))),
            (false, format!("$6$rounds=1000001$salt${}", ".".repeat(86))),
            (true, format!("$P$I{}", ".".repeat(30))),
            (false, format!("$P$J{}", ".".repeat(30))),
            (true, format!("$argon2id$v=19$m=524288,t=4,p=1${argon2}")),
            (false, format!("$argon2id$v=19$m=524288,t=5,p=1${argon2}")),
            (false, format!("$argon2id$v=19$m=524289,t=1,p=1${argon2}")),
            (
                false,
                format!("$argon2id$v=19$m=4294967295,t=4294967295,p=1${argon2}"),
            ),
            (
                false,
                format!("$argon2id$v=19$m=8,t=4294967295,p=1${argon2}"),
            ),
            (true, format!("scrypt$262144$seasalt$8$8${scrypt}")),
            (false, format!("scrypt$262144$seasalt$8$9${scrypt}")),
            (false, format!("scrypt$524288$seasalt$8$1${scrypt}")),
            (false, format!("scrypt$2$seasalt$4294967295$1${scrypt}")),
            (false, format!("scrypt$2$seasalt$1$1073741823${scrypt}")),
            (
                false,
                format!("scrypt$2147483648$seasalt$4294967295$4294967295${scrypt}"),
            ),
        ] {
            assert_eq!(is_known(&hash), known, "{hash}");
        }
    }

    #[test]
    fn wordpress_password_is_trimmed() {
        let wordpress = OTHERS.iter().find(|(_, hash)| hash.starts_with("$wp$"));
        let (password, hash) = wordpress.unwrap();
        assert_eq!(verify(&format!(" {password}\n"), hash), Some(true));
    }

    #[test]
    fn iterated_digest_refuses_long_passwords_at_once() {
        let long = "x".repeat(1024 * 1024);
        for (_, hash) in OTHERS {
            if hash.starts_with("$P$") || hash.starts_with("$6$") {
                assert_eq!(verify(&long, hash), Some(false), "{hash}");
            }
        }
    }

    #[test]
    fn ldap_crypt_scheme_holds_any_crypt_hash() {
        for (password, hash) in OTHERS.iter().chain(PLAIN) {
            if hash.starts_with("$6$") || hash.starts_with("$2") {
                let hash = format!("{{crypt}}{hash}");
                assert_eq!(verify(password, &hash), Some(true), "{hash}");
            }
        }
    }
}
