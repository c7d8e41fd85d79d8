"""The caption engines, by the name of their file, with what --help says of each."""

ENGINES = {
    "metadata": "words of the source list, or else words in the names of the file and its folder",
    "vlm": "a vision-language model that the workers load with transformers",
    "served": "a model behind an OpenAI-compatible chat endpoint",
}
