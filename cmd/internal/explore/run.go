package explore

import (
	"context"
	"errors"
	"fmt"
	"os"

	tea "charm.land/bubbletea/v2"

	"github.com/plyfs/plyfs/container/image/look"
)

// Source reads what is to be explored; it is asked again for what may have
// changed meanwhile.
type Source func() (*look.Stack, error)

// Run shows it on the terminal until somebody has seen enough.
func Run(ctx context.Context, src Source) error {
	st, err := src()
	if err != nil {
		return err
	}
	if len(st.Layers) == 0 {
		return fmt.Errorf("%s has no layers", st.Name)
	}
	plainly()
	m := newModel(st, src)
	_, err = tea.NewProgram(m, tea.WithContext(ctx), tea.WithOutput(os.Stdout)).Run()
	if errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		err = nil
	}
	return err
}
