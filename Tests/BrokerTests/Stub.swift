// Placeholder while the harness is written.
import Testing
