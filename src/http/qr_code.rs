//! QR codes as SVG pictures.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use qrcodegen::{QrCode, QrCodeEcc};

use super::error::ApiError;

/// Modules of the quiet zone around a code (ISO/IEC 18004, section 9.1).
const QUIET_ZONE: i32 = 4;

/// The picture of a text, black on white whatever the colours of the page.
///
/// # Errors
/// When the text is too long for any code.
pub(super) fn svg(text: &str) -> Result<String, ApiError> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium)
        .map_err(|_| ApiError::internal("the text of a QR code is too long"))?;
    let size = code.size() + 2 * QUIET_ZONE;
    let mut path = String::new();
    for y in 0..code.size() {
        for x in (0..code.size()).filter(|x| code.get_module(*x, y)) {
            let (left, top) = (x + QUIET_ZONE, y + QUIET_ZONE);
            let _ = write!(path, "M{left} {top}h1v1h-1z");
        }
    }
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" \
         shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0 0h{size}v{size}H0z\"/>\
         <path d=\"{path}\"/></svg>"
    ))
}

/// The same as a `data:` URI.
///
/// # Errors
/// As [`svg`].
pub(super) fn data_uri(text: &str) -> Result<String, ApiError> {
    Ok(format!(
        "data:image/svg+xml;base64,{}",
        STANDARD.encode(svg(text)?)
    ))
}
