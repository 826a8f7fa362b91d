//! What an account says of somebody: checked in one place, whoever makes or changes it.

use mesh_protocol::{
    Timestamp, UserId,
    model::{User, UserRole},
    text::{DisplayName, Email, Username, check_password},
};

use crate::error::{Fields, Result};

/// An account to be made, checked.
#[derive(Clone, Debug)]
pub struct NewProfile {
    username: Username,
    email: Option<Email>,
    display_name: DisplayName,
}

impl NewProfile {
    /// Checks what was asked for; the password too, which is not kept.
    ///
    /// # Errors
    /// 422 with every field that is not allowed.
    pub fn check(username: &str, password: &str, email: Option<&str>, display_name: Option<&str>) -> Result<Self> {
        let mut fields = Fields::default();
        let username = fields.take("username", Username::parse(username));
        fields.take("password", check_password(password));
        let email = fields.take_opt("email", email.map(Email::parse));
        let display_name = fields.take_opt("display_name", display_name.map(DisplayName::parse));
        let Some(username) = username else { return Err(fields.into_error()) };
        fields.check()?;
        let display_name = display_name.unwrap_or_else(|| (&username).into());
        Ok(Self { username, email, display_name })
    }

    /// Its name.
    pub fn username(&self) -> &str {
        self.username.as_str()
    }

    /// The account that it becomes.
    pub fn user(&self, id: UserId, role: UserRole, created_at: Timestamp) -> User {
        User {
            id,
            username: self.username.as_str().to_owned(),
            display_name: self.display_name.as_str().to_owned(),
            email: self.email.as_ref().map(|email| email.as_str().to_owned()),
            role,
            created_at,
        }
    }
}

/// What is to be changed; what is none stays.
#[derive(Clone, Debug, Default)]
pub struct ProfileChange {
    /// What the person is called.
    pub display_name: Option<DisplayName>,
    /// The address for mail; none within removes it.
    pub email: Option<Option<Email>>,
}

impl ProfileChange {
    /// Checks what was asked for, and notes in `fields` what is not allowed.
    pub fn check(fields: &mut Fields, display_name: Option<&str>, email: Option<Option<&str>>) -> Self {
        let display_name = fields.take_opt("display_name", display_name.map(DisplayName::parse));
        let email = match email {
            None => None,
            Some(None) => Some(None),
            Some(Some(text)) => fields.take("email", Email::parse(text)).map(Some),
        };
        Self { display_name, email }
    }

    /// Whether nothing is to be changed.
    pub fn is_empty(&self) -> bool {
        self.display_name.is_none() && self.email.is_none()
    }

    /// What the person is called afterwards, and the address, where they were these before.
    pub fn over<'a>(&'a self, display_name: &'a str, email: Option<&'a str>) -> (&'a str, Option<&'a str>) {
        let display_name = self.display_name.as_ref().map_or(display_name, DisplayName::as_str);
        (display_name, self.email.as_ref().map_or(email, |email| email.as_ref().map(Email::as_str)))
    }
}
