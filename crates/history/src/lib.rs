//! Pure rules of history: the hash chain, change sets, conflicts and text merges
