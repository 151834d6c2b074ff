package container

import "errors"

func (c *Container) StartDetached() ([]string, error) { return nil, errors.New("x") }
