//! Bodies of `/api/auth/totp` and `/api/auth/tokens`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{SessionId, Timestamp, model::Scope};

/// `GET /api/auth/totp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TotpStatus {
    /// Whether a login asks for a code.
    pub enabled: bool,
    /// How many recovery codes are unused.
    #[schema(maximum = 10)]
    pub recovery_codes_left: u64,
}

/// `POST /api/auth/totp`: what an authenticator app is to be told.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct TotpSecret {
    /// The shared secret, base32.
    #[schema(example = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")]
    pub secret: String,
    /// The same as a URI, for a QR code.
    pub otpauth_url: String,
}

/// `POST /api/auth/totp/confirm`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct ConfirmTotpRequest {
    /// What the authenticator app shows.
    #[schema(example = "123456")]
    pub code: String,
}

/// The codes for when the authenticator is lost; shown once.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct RecoveryCodes {
    /// Ten, each good for one login.
    pub recovery_codes: Vec<String>,
}

/// `DELETE /api/auth/totp`: one of `code` and `password`; neither, where the login is younger than ten minutes.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct DisableTotpRequest {
    /// What the authenticator app shows, or a recovery code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "123456")]
    pub code: Option<String>,
    /// The account's password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
}

/// `DELETE /api/auth/me`.
#[derive(Clone, Default, Serialize, Deserialize, ToSchema)]
pub struct DeleteAccountRequest {
    /// The account's password.
    pub password: String,
    /// What the authenticator app shows, or a recovery code: where a second factor is on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "123456")]
    pub code: Option<String>,
}

/// `POST /api/auth/login/totp`.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct TotpLoginRequest {
    /// The `challenge` of the answer `totp_required`.
    pub challenge: String,
    /// What the authenticator app shows, or a recovery code.
    #[schema(example = "123456")]
    pub code: String,
}

/// `POST /api/auth/tokens`.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct CreateTokenRequest {
    /// What the token is for: 1–100 characters on one line.
    #[schema(min_length = 1, max_length = 100, example = "backup agent")]
    pub name: String,
    /// Seconds until it ends, at most ten years; without it, it does not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 315_360_000)]
    pub expires_in: Option<i64>,
    /// What it may do.
    #[schema(min_items = 1, max_items = 16)]
    pub scopes: Vec<Scope>,
}

/// A new personal access token. This is the only time that it is shown.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// The token's id; also the `session_id` of its connections.
    pub id: SessionId,
    /// The token itself: for `Authorization: Bearer`, or `/ws?token=`.
    #[schema(pattern = "^mesh_pat_[A-Za-z0-9_-]{43}$")]
    pub token: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    #[schema(required)]
    pub expires_at: Option<Timestamp>,
}

/// A personal access token, as its owner sees it later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TokenInfo {
    /// The token's id.
    pub id: SessionId,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, within a few minutes.
    #[schema(required)]
    pub last_used_at: Option<Timestamp>,
    /// When it ends.
    #[schema(required)]
    pub expires_at: Option<Timestamp>,
}
