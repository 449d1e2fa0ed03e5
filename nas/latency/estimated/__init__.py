"""Tables made from public logs or a person's own times, and what is estimated from them."""
