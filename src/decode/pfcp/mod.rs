//! PFCP, 3GPP TS 29.244 Release 17: messages, information elements and their typed values, as views on
//! the bytes of a datagram. What an IE's value is made of stands as data in `table`, in the language of
//! `layout`, and is read by `walk`: a new IE is a row. Nothing allocates.

mod ie;
pub mod layout;
mod message;
mod names;
mod table;
pub mod value;
pub mod walk;

pub use ie::{Body, Definition, Ie, Ies, MAX_DEPTH, definition};
pub use message::{Message, Wrong, message_name};
