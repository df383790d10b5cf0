//! How the model's types look in SQL.
