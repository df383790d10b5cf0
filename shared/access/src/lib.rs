//! Who may use the HTTP interfaces: operators by the keys of the settings.

mod settings;

pub use settings::Settings;
