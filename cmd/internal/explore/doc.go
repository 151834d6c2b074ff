// Package explore is the terminal explorer of layers and files, and the rules by
// which a build fails that wastes too much, as dive has both. What is shown comes
// from a [Source]; the package reads no store and knows no verb.
//
// Names and contents are somebody else's: whatever could move the cursor or worse
// is shown as its escape.
package explore
