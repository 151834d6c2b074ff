#include "textflag.h"

// entry is where a program begins that is linked with -E main.entry: before the
// runtime, and on its only thread. See entry.go.
TEXT ·entry(SB),NOSPLIT|NOFRAME,$0
	CMPQ	0(SP), $2 // argc
	JLT	runtime
	MOVQ	16(SP), BX // argv[1]
	MOVL	(BX), BX
	CMPL	BX, $0x006e7572 // "run"
	JEQ	relax
	CMPL	BX, $0x00797274 // "try"
	JNE	runtime

relax:
	MOVL	$157, AX // prctl(PR_GET_TIMERSLACK)
	MOVL	$30, DI
	SYSCALL
	CMPQ	AX, $2000000
	JCC	runtime // also an error
	MOVQ	AX, ·slack(SB)
	MOVL	$157, AX // prctl(PR_SET_TIMERSLACK, 2 ms)
	MOVL	$29, DI
	MOVL	$2000000, SI
	SYSCALL

runtime:
	JMP	_rt0_amd64_linux(SB)
