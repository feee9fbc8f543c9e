//! What DocStore does: check the right, change the state, record the event
