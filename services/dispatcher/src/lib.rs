//! The dispatcher: makes attempts.

#![allow(dead_code)]
mod pace;
