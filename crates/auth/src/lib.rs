//! Who is asking: identities, tokens, sessions and their verification
