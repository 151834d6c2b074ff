package layer

// Nearest gives the word of words that word was most likely meant to be, or
// "" when none is close. Ties go to the word that comes first.
func Nearest(word string, words []string) string {
	best, bestDist := "", 0
	for _, w := range words {
		d := distance(word, w)
		if d <= max(len(word), len(w))/2 && (best == "" || d < bestDist) {
			best, bestDist = w, d
		}
	}
	return best
}

// distance is the edit distance of a and b in bytes; two neighbours that
// changed places count as one edit.
func distance(a, b string) int {
	before, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			swap := prev[j-1]
			if a[i-1] != b[j-1] {
				swap++
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, swap)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}
