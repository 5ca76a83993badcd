//! The bodies of the contract that several suites expect, to the letter.

pub const BAD_TOKEN: &str =
    r#"{"detail":"Given token not valid for any token type","code":"token_not_valid"}"#;
pub const DEAD_TOKEN: &str = r#"{"detail":"Token is invalid or expired","code":"token_not_valid"}"#;
pub const EMAIL_TAKEN: &str = r#"{"email":["user with this email already exists."]}"#;
pub const EMAIL_SENT: &str = r#"{"msg":"Email sent successfully!"}"#;
pub const EMAIL_VERIFIED: &str = r#"{"msg":"Email verified successfully!"}"#;
pub const FORBIDDEN: &str = r#"{"detail":"You do not have permission to perform this action."}"#;
pub const INVALID_OTP: &str = r#"{"otp":["Invalid or expired OTP."]}"#;
pub const NO_TOKEN: &str = r#"{"detail":"Authentication credentials were not provided."}"#;
pub const NO_USER: &str = r#"{"error":"User not found"}"#;
pub const NOT_FOUND: &str = r#"{"detail":"Not found."}"#;
pub const TOO_LARGE: &str = r#"{"detail":"Request body too large."}"#;
pub const UNKNOWN_CREDENTIALS: &str =
    r#"{"detail":"No active account found with the given credentials"}"#;
pub const UNVERIFIED: &str =
    r#"{"detail":"Email address is not verified.","code":"email_not_verified"}"#;
