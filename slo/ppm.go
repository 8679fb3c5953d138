package slo

import (
	"fmt"
	"math/big"
)

// UnmarshalText reads what MarshalText wrote, a percentage number such as "99.95".
func (p *PPM) UnmarshalText(text []byte) error {
	r, ok := new(big.Rat).SetString(string(text))
	if !ok {
		return fmt.Errorf("cannot read the share %q: it is not a number", text)
	}
	r.Mul(r, big.NewRat(int64(One)/100, 1))
	if !r.IsInt() || r.Sign() < 0 || r.Num().Cmp(big.NewInt(int64(One))) > 0 {
		return fmt.Errorf("cannot read the share %q: it is not from 0 to 100 with at most four decimals", text)
	}
	*p = PPM(r.Num().Int64())
	return nil
}
