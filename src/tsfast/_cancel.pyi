from typing import final

@final
class Cancel: ...
