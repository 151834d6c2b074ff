package dialect

import "errors"

// ErrInvalid is what every parser's error is, by errors.Is. The error's text
// says what is wrong with the value.
var ErrInvalid = errors.New("not a valid value")

// badValue is an error that costs no allocation: all of them are constants.
type badValue string

func (e badValue) Error() string        { return string(e) }
func (e badValue) Is(target error) bool { return target == ErrInvalid }
